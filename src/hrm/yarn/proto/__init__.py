"""The messages of YARN's protocols. `hrm.testing.protos` makes ``*_pb2.py`` of the ``.proto`` files beside them."""
