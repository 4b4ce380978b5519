"""Requests of a load balancer's health check are not worth keeping."""

AGENT = "ELB-HealthChecker/1.0"


class message(object):
    def __init__(self):
        self.registration = [AGENT]
        self.priority = 1

    def onMessage(self, message, metadata):
        if (message.get("details") or {}).get("http_user_agent") == AGENT:
            return (None, metadata)
        return (message, metadata)
