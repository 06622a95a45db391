{{/* What a schema cannot say: values that are needed, or contradict each other. Included by the Deployment: nothing is rendered. */}}

{{- define "screener.checkKafka" -}}
{{- $where := index . 0 -}}
{{- $kafka := index . 1 -}}
{{- if not $kafka.bootstrapServers -}}
{{- fail (printf "%s.bootstrapServers: needed: host:port, several with commas" $where) -}}
{{- end -}}
{{- $sasl := $kafka.sasl -}}
{{- $tls := $kafka.tls -}}
{{- range $names := list
  (dict "sasl.username" $sasl.username "sasl.usernameSecret.name" $sasl.usernameSecret.name)
  (dict "sasl.passwordFile" $sasl.passwordFile "sasl.passwordSecret.name" $sasl.passwordSecret.name)
  (dict "sasl.serviceAccountToken.audience" $sasl.serviceAccountToken.audience "sasl.tokenFile" $sasl.tokenFile "sasl.tokenSecret.name" $sasl.tokenSecret.name)
  (dict "tls.caFile" $tls.caFile "tls.caSecret.name" $tls.caSecret.name)
  (dict "tls.certFile" $tls.certFile "tls.clientSecret.name" $tls.clientSecret.name)
-}}
{{- $given := list -}}
{{- range $name, $value := $names -}}
{{- if $value -}}
{{- $given = append $given (printf "%s.%s" $where $name) -}}
{{- end -}}
{{- end -}}
{{- if gt (len $given) 1 -}}
{{- fail (printf "%s: one of them (an empty string unsets the other)" (join " and " $given)) -}}
{{- end -}}
{{- end -}}
{{- if ne (empty $tls.certFile) (empty $tls.keyFile) -}}
{{- fail (printf "%s.tls.certFile and %s.tls.keyFile: both or neither" $where $where) -}}
{{- end -}}
{{- if hasPrefix "SASL" $kafka.securityProtocol -}}
{{- if eq $sasl.mechanism "OAUTHBEARER" -}}
{{- if not (or $sasl.tokenSecret.name $sasl.serviceAccountToken.audience $sasl.tokenFile) -}}
{{- fail (printf "%s.sasl: OAUTHBEARER needs tokenSecret.name, serviceAccountToken.audience or tokenFile" $where) -}}
{{- end -}}
{{- else if not (and (or $sasl.username $sasl.usernameSecret.name) (or $sasl.passwordSecret.name $sasl.passwordFile)) -}}
{{- fail (printf "%s.sasl: %s needs username or usernameSecret.name, and passwordSecret.name or passwordFile" $where $sasl.mechanism) -}}
{{- end -}}
{{- else if or $sasl.username $sasl.usernameSecret.name $sasl.passwordSecret.name $sasl.passwordFile $sasl.tokenSecret.name $sasl.serviceAccountToken.audience $sasl.tokenFile -}}
{{- fail (printf "%s.sasl is set, and %s.securityProtocol=%s does not use it" $where $where $kafka.securityProtocol) -}}
{{- end -}}
{{- if not (hasSuffix "SSL" $kafka.securityProtocol) -}}
{{- if or $tls.caSecret.name $tls.caFile $tls.clientSecret.name $tls.certFile -}}
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
{{- $kafka := $.Values.kafka -}}
{{- $oauth := and (hasPrefix "SASL" $kafka.securityProtocol) (eq $kafka.sasl.mechanism "OAUTHBEARER") -}}
{{- if and (or $oauth $kafka.sasl.passwordFile $kafka.tls.caFile $kafka.tls.certFile) (not .triggerAuthentication) -}}
{{- fail "keda.triggerAuthentication: needed with OAUTHBEARER and with files: KEDA cannot read the worker's" -}}
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
{{- if not .Values.image.repository -}}
{{- fail "image.repository: needed: where the image was pushed that deploy/Dockerfile builds, registry/name" -}}
{{- end -}}
{{- end -}}
