"""Activities of Google's Reports API have their type, and an etag without quotes."""


class message(object):
    def __init__(self):
        self.registration = ["google"]
        self.priority = 5

    def onMessage(self, message, metadata):
        details = message.get("details")
        if isinstance(details, dict) and "activity" in str(details.get("kind", "")):
            message["type"] = "google"
            if isinstance(details.get("etag"), str):
                details["etag"] = details["etag"].replace('"', "")
        return (message, metadata)
