"""The GPUs of a node: what there is, what is lent, how each does, and who is on it.

`probe` asks NVML, in a process of its own that may hang or die; what it answers is a `reading`. `allow_list` says which
GPUs are lent, `health` which are well, `tenants` whose the processes on them are. `node_gpus` keeps the outcome.
"""
