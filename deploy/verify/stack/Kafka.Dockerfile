# Stands in for apache/kafka: the same release, from the Maven jars, with the commands and the variables of its image that
# docker-compose.yml and deploy/README.md use.
ARG BASE
FROM ${BASE}

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-21-jre-headless \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 1000 appuser \
    && mkdir -p /var/lib/kafka/data \
    && chown appuser:appuser /var/lib/kafka/data

# The folder that Maven has filled: a build context of its own.
# hadolint ignore=DL3022
COPY --from=jars . /opt/kafka/libs
COPY kafka.sh /opt/kafka/bin/
RUN for tool in broker-api-versions console-consumer console-producer consumer-groups; do \
      ln -s kafka.sh "/opt/kafka/bin/kafka-$tool.sh"; \
    done

USER 1000
ENTRYPOINT ["/opt/kafka/bin/kafka.sh"]
