"""Control groups, of version 1 and 2, by whatever of them this machine has: limits for one container each.

Used by the shepherd, so standard library only. `machine` finds out what can be enforced, `pool` keeps cgroups ready.
"""
