"""Sends fifty events with a client that others wrote: `clients.py CLIENT ADDRESS TOKEN`."""

import logging
import sys

COUNT = 50


def documents():
    for number in range(COUNT):
        yield {"_index": "logs", "_id": str(number), "_source": {"summary": f"event {number}."}}


def elasticsearch(address, token):
    from elasticsearch import Elasticsearch, helpers

    client = Elasticsearch(f"http://{address}", basic_auth=("any", token))
    helpers.bulk(client, documents(), chunk_size=20)
    print(client.info()["version"]["number"], client.cluster.health()["status"])


def opensearch(address, token):
    from opensearchpy import OpenSearch, helpers

    client = OpenSearch(f"http://{address}", http_auth=("any", token), http_compress=True)
    helpers.bulk(client, documents(), chunk_size=20)
    print(client.info()["version"]["distribution"], client.cluster.health()["status"])


def opentelemetry(address, token):
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    exporter = OTLPLogExporter(
        endpoint=f"http://{address}/v1/logs",
        headers={"authorization": f"Bearer {token}"},
        compression=Compression.Gzip,
    )
    provider = LoggerProvider(resource=Resource.create({"service.name": "tests", "host.name": "web"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("tests")
    for number in range(COUNT):
        logger.emit(body=f"event {number}.", severity_text="INFO", attributes={"number": number})
    provider.shutdown()


def splunk(address, token):
    from splunk_handler import SplunkHandler

    host, port = address.split(":")
    handler = SplunkHandler(
        host=host, port=port, token=token, index="main", hostname="web", protocol="http", verify=False, timeout=10
    )
    logger = logging.getLogger("tests")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for number in range(COUNT):
        logger.info("event %d.", number)
    handler.force_flush()


globals()[sys.argv[1]](*sys.argv[2:])
