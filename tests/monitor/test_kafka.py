"""What is said when Kafka cannot be started, and how it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.kafka import KafkaMissing, KafkaServer, find_home, find_java, java_version


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_401"', 8),
        ("nonsense", 0),
    ],
)
def test_it_reads_the_version_of_java(told: str, version: int) -> None:
    assert java_version(told) == version


def java_that_says(folder: Path, text: str) -> str:
    path = folder / "java"
    path.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    path.chmod(0o755)
    return str(path)


def test_it_says_what_to_install_without_java(tmp_path: Path) -> None:
    with pytest.raises(KafkaMissing, match=r"expected a Java runtime 17 or newer, found none.*openjdk-17"):
        find_java({"PATH": str(tmp_path)})


def test_it_refuses_an_old_java(tmp_path: Path) -> None:
    with pytest.raises(KafkaMissing, match=r"expected Java 17 or newer, got 11"):
        find_java({"JAVA": java_that_says(tmp_path, 'openjdk version "11.0.1"')})


def test_it_takes_a_new_java(tmp_path: Path) -> None:
    java = java_that_says(tmp_path, 'openjdk version "21.0.1"')
    assert find_java({"JAVA": java}) == java
    assert find_java({"PATH": str(tmp_path)}) == java


@pytest.mark.parametrize("environment", [{}, {"KAFKA_HOME": ""}, {"KAFKA_HOME": "/nowhere"}])
def test_it_says_where_kafka_comes_from(environment: dict[str, str]) -> None:
    with pytest.raises(KafkaMissing, match=r"expected .*KAFKA_HOME.*set KAFKA_HOME"):
        find_home(environment)


def test_it_takes_a_folder_with_the_jars(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.3.1.jar").touch()
    assert find_home({"KAFKA_HOME": str(tmp_path)}) == tmp_path


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path, "java", tmp_path / "data", 9192, 9293)
    settings = dict(line.split("=", 1) for line in server.configuration().splitlines())
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:9192,CONTROLLER://127.0.0.1:9293"
    assert settings["auto.create.topics.enable"] == "false"
    assert server.bootstrap == "127.0.0.1:9192"
    assert server.command()[-2:] == ["kafka.Kafka", str(tmp_path / "data" / "server.properties")]


@pytest.mark.kafka
def test_a_folder_that_cannot_be_formatted_says_why(kafka: object, tmp_path: Path) -> None:
    server = KafkaServer(tmp_path, find_java(), tmp_path / "data", 1, 2)
    with pytest.raises(KafkaMissing, match=r"(?s)StorageTool random-uuid failed.*is KAFKA_HOME whole\?"):
        server.prepare()
