"""What a plugin written in Python may ask of MozDef, besides the event.

    from mozdef_plugin import lookup, setting

    class message(object):
        def __init__(self):
            self.registration = ["vpn"]
            self.priority = 20

        def onMessage(self, message, metadata):
            site = setting("site")                       # normalize.plugins.settings.NAME.site
            owner = lookup("assets", message["hostname"])  # a row as a dict, or None
            ...

Both are answered at run time only, not while the component is built (in `__init__` or at the top of the module).
Without MozDef, as in a unit test, there are no settings and no tables.
"""

import json

try:
    from wit_world.imports import host as _host
except ImportError:
    _host = None


def setting(key, default=None):
    """The text of a setting, or `default`."""
    value = _host.setting(key) if _host else None
    return default if value is None else value


def lookup(table, key):
    """The row of a table that fits `key` best, or `None`."""
    row = _host.lookup(table, key) if _host else None
    return None if row is None else json.loads(row)
