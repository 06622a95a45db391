#!/bin/sh
# Kafka in its stand-in: the broker, configured by variables as apache/kafka is, or under another name one of its commands.
set -eu

java() {
  # shellcheck disable=SC2086  a list of options
  exec /usr/bin/java ${KAFKA_HEAP_OPTS:--Xmx256m} -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' "$@"
}

case $(basename "$0") in
  kafka-broker-api-versions.sh) java org.apache.kafka.tools.BrokerApiVersionsCommand "$@" ;;
  kafka-console-consumer.sh) java org.apache.kafka.tools.consumer.ConsoleConsumer "$@" ;;
  kafka-console-producer.sh) java org.apache.kafka.tools.ConsoleProducer "$@" ;;
  kafka-consumer-groups.sh) java org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@" ;;
esac

# KAFKA_LOG_DIRS=… is log.dirs=…
env | sed -n 's/^KAFKA_\([A-Z_]*\)=/\1 /p' | while read -r name value; do
  [ "$name" = HEAP_OPTS ] || echo "$(echo "$name" | tr 'A-Z_' 'a-z.')=$value"
done >/tmp/server.properties
(java kafka.tools.StorageTool format --ignore-formatted --cluster-id=5L6g3nShT-eMCtK--X86sw --config=/tmp/server.properties)
java kafka.Kafka /tmp/server.properties
