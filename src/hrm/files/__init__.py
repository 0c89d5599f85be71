"""What jobs bring along and what they leave: manifests, content by its hash, and the forms in which it travels."""
