{{/* What a schema cannot say: values that contradict each other. Included by the Deployment, so that nothing is rendered. */}}

{{- define "screener.checkKafka" -}}
{{- $where := index . 0 -}}
{{- $kafka := index . 1 -}}
{{- if not $kafka.bootstrapServers -}}
{{- fail (printf "%s.bootstrapServers: needed: host:port, several with commas" $where) -}}
{{- end -}}
{{- $sasl := $kafka.sasl -}}
{{- if and $sasl.username $sasl.usernameSecret.name -}}
{{- fail (printf "%s.sasl.username and %s.sasl.usernameSecret.name: one of the two (an empty string unsets the other)" $where $where) -}}
{{- end -}}
{{- if hasPrefix "SASL" $kafka.securityProtocol -}}
{{- if eq $sasl.mechanism "OAUTHBEARER" -}}
{{- if not (or $sasl.tokenSecret.name $sasl.serviceAccountToken.audience) -}}
{{- fail (printf "%s.sasl: OAUTHBEARER needs tokenSecret.name or serviceAccountToken.audience" $where) -}}
{{- end -}}
{{- else if not (and (or $sasl.username $sasl.usernameSecret.name) $sasl.passwordSecret.name) -}}
{{- fail (printf "%s.sasl: %s needs username or usernameSecret.name, and passwordSecret.name" $where $sasl.mechanism) -}}
{{- end -}}
{{- else if or $sasl.username $sasl.usernameSecret.name $sasl.passwordSecret.name $sasl.tokenSecret.name $sasl.serviceAccountToken.audience -}}
{{- fail (printf "%s.sasl is set, and %s.securityProtocol=%s does not use it" $where $where $kafka.securityProtocol) -}}
{{- end -}}
{{- if not (hasSuffix "SSL" $kafka.securityProtocol) -}}
{{- if or $kafka.tls.caSecret.name $kafka.tls.clientSecret.name -}}
{{- fail (printf "%s.tls is set, and %s.securityProtocol=%s does not use it" $where $where $kafka.securityProtocol) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "screener.checks" -}}
{{- include "screener.checkKafka" (list "kafka" .Values.kafka) -}}
{{- $partitions := .Values.kafka.commentsPartitions | int -}}
{{- if .Values.keda.enabled -}}
{{- with .Values.keda -}}
{{- $most := .maxReplicas | default $partitions | int -}}
{{- if gt $most $partitions -}}
{{- fail (printf "keda.maxReplicas is %d, and the comments topic has %d partitions (kafka.commentsPartitions): the others would have nothing to read" $most $partitions) -}}
{{- end -}}
{{- range $name, $replicas := dict "minReplicas" .minReplicas "fallback.replicas" (.fallback.replicas | default .minReplicas) -}}
{{- if gt (int $replicas) $most -}}
{{- fail (printf "keda.%s is %d, and there are %d workers at most" $name (int $replicas) $most) -}}
{{- end -}}
{{- end -}}
{{- if and (hasPrefix "SASL" $.Values.kafka.securityProtocol) (eq $.Values.kafka.sasl.mechanism "OAUTHBEARER") (not .triggerAuthentication) -}}
{{- fail "keda.triggerAuthentication: needed with OAUTHBEARER: KEDA cannot read the worker's token" -}}
{{- end -}}
{{- end -}}
{{- else if gt (int .Values.replicas) $partitions -}}
{{- fail (printf "replicas is %d, and the comments topic has %d partitions (kafka.commentsPartitions): the others would have nothing to read" (int .Values.replicas) $partitions) -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "SCREENER_" .name -}}
{{- fail (printf "extraEnv: %s belongs under settings, or has a value of its own" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.policy.inline .Values.policy.existingConfigMap.name -}}
{{- fail "policy.inline and policy.existingConfigMap.name: one of the two" -}}
{{- end -}}
{{- end -}}
