"""Why something waits, runs or ends, worked out when somebody asks: dry runs over the books that change nothing."""
