"""Traps that the SNMP trap translator wrote to syslog: `<name> <severity> "Status Events" <host> - <text>`."""

import re

LINE = re.compile(r'(?P<name>.*) (?P<severity>\S+) "Status Events" (?P<host>.+?) - (?P<text>.*)', re.S)


class message(object):
    def __init__(self):
        self.registration = ["snmptt"]
        self.priority = 5

    def onMessage(self, message, metadata):
        details = message.get("details") or {}
        if "snmptt" not in (message.get("processname"), details.get("program")):
            return (message, metadata)
        found = LINE.fullmatch((message.get("summary") or "").strip())
        if found:
            details["trapname"] = found["name"]
            details["trapseverity"] = found["severity"]
            details["trappayload"] = found["text"]
            message["details"] = details
            message["hostname"] = found["host"]
            message["tags"] = (message.get("tags") or []) + ["alert"]
        return (message, metadata)
