"""Where containers really run: this machine (`embedded`); other engines stand beside it behind `base.Engine`."""
