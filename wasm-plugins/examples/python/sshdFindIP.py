"""The first IPv4 address or network in the summary is the source, where nothing better was found."""

import ipaddress


def is_address(word):
    try:
        ipaddress.IPv4Network(word, strict=False)
    except ValueError:
        return False
    # The library would also take a bare number.
    return word.count(".") == 3


class message(object):
    def __init__(self):
        self.registration = ["sshd", "sshd-session", "fail2ban"]
        self.priority = 5

    def onMessage(self, message, metadata):
        details = message.get("details") or {}
        if "sourceipaddress" in details or not isinstance(message.get("summary"), str):
            return (message, metadata)
        for word in message["summary"].split():
            word = word.strip(",\"'")
            if is_address(word):
                details["sourceipaddress"] = word
                message["details"] = details
                break
        return (message, metadata)
