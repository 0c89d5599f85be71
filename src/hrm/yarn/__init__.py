"""YARN's front door: Hadoop's clients and masters speak to HRM as to a Hadoop cluster."""
