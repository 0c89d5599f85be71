"""ApplicationMasters: the protocol they speak and the built-in one, the task set."""
