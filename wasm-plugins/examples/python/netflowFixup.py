"""NetFlow events have their type."""


class message(object):
    def __init__(self):
        self.registration = ["netflow"]
        self.priority = 5

    def onMessage(self, message, metadata):
        message["type"] = "netflow"
        return (message, metadata)
