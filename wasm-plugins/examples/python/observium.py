"""Alerts of the network monitor Observium: `<type>: [<host>] [<kind>] [<entity>] <text>`."""

import re

LINE = re.compile(r"(?P<type>.+?): \[(?P<host>.+?)\] \[(?P<kind>.+?)\] \[(?P<entity>.+?)\] (?P<text>.*)", re.S)


class message(object):
    def __init__(self):
        self.registration = ["observium"]
        self.priority = 5

    def onMessage(self, message, metadata):
        details = message.get("details") or {}
        if "Observium" not in (message.get("processname"), details.get("program")):
            return (message, metadata)
        found = LINE.fullmatch((message.get("summary") or "").strip())
        if found:
            details["alert_type"] = found["type"]
            details["entity_type"] = found["kind"]
            details["entity"] = found["entity"]
            details["alert_message"] = found["text"]
            message["details"] = details
            message["hostname"] = found["host"]
            message["tags"] = (message.get("tags") or []) + ["alert"]
        return (message, metadata)
