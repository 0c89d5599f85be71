"""The simulator: the production scheduler under virtual time, on workloads that are data.

Nothing is simulated inside the core: `hrm.sim.simulation` stands where machines and users stand, tells
`hrm.core.scheduler.Scheduler` what happened by its public `handle`, and obeys what it decides. The pacer is the
ResourceManager's own. Everything random is drawn beforehand, from one seed.
"""
