"""A producer and a consumer with a schema registry, by Confluent's client.

produce BROKERS REGISTRY TOPIC COUNT   COUNT events each in Avro, Protobuf and JSON
late REGISTRY                          registers one more schema; prints a value of it in base64
consume BROKERS REGISTRY TOPIC COUNT   prints the summaries of events, read by their schema
"""

import base64
import datetime
import decimal
import json
import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

AVRO = json.dumps({
    "type": "record", "name": "Login", "namespace": "org.example", "fields": [
        {"name": "summary", "type": "string"},
        {"name": "hostname", "type": "string"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "details", "type": {"type": "record", "name": "Details", "fields": [
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["AVRO", "OTHER"]}},
            {"name": "number", "type": "long"},
            {"name": "user", "type": ["null", "string"]},
            {"name": "paid", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
            {"name": "labels", "type": {"type": "map", "values": "string"}}]}}]})
LATE = json.dumps({"type": "record", "name": "Late", "fields": [{"name": "summary", "type": "string"}]})
JSON = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Login", "type": "object"})


def protobuf():
    """The message class of a file that is written here."""
    file = descriptor_pb2.FileDescriptorProto(name="login.proto", package="org.example", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Unused").field.add(name="a", number=1, label=1, type=kinds.TYPE_STRING)
    details = descriptor_pb2.DescriptorProto(name="Details")
    details.field.add(name="kind", number=1, label=1, type=kinds.TYPE_STRING)
    details.field.add(name="number", number=2, label=1, type=kinds.TYPE_INT64)
    details.field.add(name="names", number=3, label=3, type=kinds.TYPE_STRING)
    login = file.message_type.add(name="Login")
    login.nested_type.append(details)
    for number, name in enumerate(["summary", "hostname"], 1):
        login.field.add(name=name, number=number, label=1, type=kinds.TYPE_STRING)
    login.field.add(name="details", number=3, label=1, type=kinds.TYPE_MESSAGE, type_name=".org.example.Login.Details")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("org.example.Login"))


def serializers(client):
    login = protobuf()
    return (AvroSerializer(client, AVRO), login,
            ProtobufSerializer(login, client, {"use.deprecated.format": False}), JSONSerializer(JSON, client))


def values(client, topic, count):
    avro, login, proto, as_json = serializers(client)
    at = [SerializationContext(f"{topic}-{kind}", MessageField.VALUE) for kind in ("avro", "protobuf", "json")]
    for number in range(count):
        yield avro({
            "summary": f"avro {number}", "hostname": "h", "timestamp": datetime.datetime.now(datetime.timezone.utc),
            "details": {"kind": "AVRO", "number": number, "user": "Jürgen" if number % 2 else None,
                        "paid": decimal.Decimal("12.34"), "labels": {"a": "b"}}}, at[0])
        message = login(summary=f"protobuf {number}", hostname="h")
        message.details.kind, message.details.number = "PROTOBUF", number
        message.details.names.extend(["a", "b"])
        yield proto(message, at[1])
        details = {"kind": "JSON", "number": number}
        yield as_json({"summary": f"json {number}", "hostname": "h", "details": details}, at[2])


def main(command, *arguments):
    if command == "produce":
        brokers, registry, topic, count = arguments
        producer = Producer({"bootstrap.servers": brokers})
        for value in values(SchemaRegistryClient({"url": registry}), topic, int(count)):
            producer.produce(topic, value)
        assert producer.flush(30) == 0
    elif command == "late":
        (registry,) = arguments
        client = SchemaRegistryClient({"url": registry})
        context = SerializationContext("late", MessageField.VALUE)
        print(base64.b64encode(AvroSerializer(client, LATE)({"summary": "late"}, context)).decode())
    elif command == "consume":
        brokers, registry, topic, count = arguments
        read = JSONDeserializer(None, schema_registry_client=SchemaRegistryClient({"url": registry}))
        consumer = Consumer({"bootstrap.servers": brokers, "group.id": topic, "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        found = 0
        while found < int(count):
            message = consumer.poll(30)
            assert message is not None and not message.error(), message
            if message.value():
                event = read(message.value(), SerializationContext(topic, MessageField.VALUE))
                print(event["summary"])
                found += 1
        consumer.close()


main(*sys.argv[1:])
