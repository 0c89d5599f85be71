"""The store: what the ResourceManager knows, on disk. What was acknowledged survives any crash."""

from hrm.rm.store.queries import HistoryRow
from hrm.rm.store.recovery import Loaded, SavedApplication
from hrm.rm.store.store import Store, open_store

__all__ = ["HistoryRow", "Loaded", "SavedApplication", "Store", "open_store"]
