"""Texts that people write into GitHub are cut to what a person reads."""

CHARACTERS_MAX = 3000


def cut(fields, key):
    text = fields.get(key)
    if isinstance(text, str) and len(text) > CHARACTERS_MAX:
        fields[key] = text[:CHARACTERS_MAX] + " ..."


class message(object):
    def __init__(self):
        self.registration = ["githubeventsqs"]
        self.priority = 20

    def onMessage(self, message, metadata):
        cut(message, "summary")
        if isinstance(message.get("details"), dict):
            for key in ("message", "cmdline", "pr_body"):
                cut(message["details"], key)
        return (message, metadata)
