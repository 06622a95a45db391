{{/* How to reach Kafka, from a dictionary like .Values.kafka. Secrets are files, so that they stand in no list of variables. */}}

{{/* That of the topics' Job. */}}
{{- define "screener.topicsKafka" -}}
{{- mergeOverwrite (deepCopy .Values.kafka) .Values.topics.kafka | toYaml -}}
{{- end -}}

{{- define "screener.kafkaEnv" -}}
- {name: SCREENER_KAFKA_BOOTSTRAP_SERVERS, value: {{ .bootstrapServers | quote }}}
- {name: SCREENER_COMMENTS_TOPIC, value: {{ .commentsTopic | quote }}}
- {name: SCREENER_DECISIONS_TOPIC, value: {{ .decisionsTopic | quote }}}
- {name: SCREENER_DEAD_LETTERS_TOPIC, value: {{ .deadLettersTopic | quote }}}
- {name: SCREENER_GROUP_ID, value: {{ .groupId | quote }}}
- {name: SCREENER_SECURITY_PROTOCOL, value: {{ .securityProtocol }}}
{{- if hasPrefix "SASL" .securityProtocol }}
- {name: SCREENER_SASL_MECHANISM, value: {{ .sasl.mechanism }}}
{{- if eq .sasl.mechanism "OAUTHBEARER" }}
- {name: SCREENER_SASL_OAUTH_TOKEN_FILE, value: {{ .sasl.tokenFile | default "/etc/comment-screener/kafka/token" }}}
{{- else }}
{{- if .sasl.usernameSecret.name }}
- name: SCREENER_SASL_USERNAME
  valueFrom: {secretKeyRef: {name: {{ .sasl.usernameSecret.name }}, key: {{ .sasl.usernameSecret.key }}}}
{{- else }}
- {name: SCREENER_SASL_USERNAME, value: {{ .sasl.username | quote }}}
{{- end }}
- {name: SCREENER_SASL_PASSWORD_FILE, value: {{ .sasl.passwordFile | default "/etc/comment-screener/kafka/password" }}}
{{- end }}
{{- end }}
{{- if or .tls.caSecret.name .tls.caFile }}
- {name: SCREENER_SSL_CA_FILE, value: {{ .tls.caFile | default "/etc/comment-screener/kafka/ca.crt" }}}
{{- end }}
{{- if or .tls.clientSecret.name .tls.certFile }}
- {name: SCREENER_SSL_CERT_FILE, value: {{ .tls.certFile | default "/etc/comment-screener/kafka/tls.crt" }}}
- {name: SCREENER_SSL_KEY_FILE, value: {{ .tls.keyFile | default "/etc/comment-screener/kafka/tls.key" }}}
{{- end }}
{{- end -}}

{{/* The files among them, as sources of a projected volume; nothing where there are none. */}}
{{- define "screener.kafkaFiles" -}}
{{- if hasPrefix "SASL" .securityProtocol }}
{{- if ne .sasl.mechanism "OAUTHBEARER" }}
{{- with .sasl.passwordSecret }}
{{- if .name }}
- secret:
    name: {{ .name }}
    items: [{key: {{ .key }}, path: password}]
{{- end }}
{{- end }}
{{- else if .sasl.tokenSecret.name }}
- secret:
    name: {{ .sasl.tokenSecret.name }}
    items: [{key: {{ .sasl.tokenSecret.key }}, path: token}]
{{- else if .sasl.serviceAccountToken.audience }}
- serviceAccountToken:
    audience: {{ .sasl.serviceAccountToken.audience }}
    expirationSeconds: {{ .sasl.serviceAccountToken.expirationSeconds | int }}
    path: token
{{- end }}
{{- end }}
{{- with .tls.caSecret }}
{{- if .name }}
- secret:
    name: {{ .name }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- with .tls.clientSecret }}
{{- if .name }}
- secret:
    name: {{ .name }}
    items: [{key: {{ .certKey }}, path: tls.crt}, {key: {{ .keyKey }}, path: tls.key}]
{{- end }}
{{- end }}
{{- end -}}

{{/* Where those lie, beside what else may bring some: (list $ $kafka). */}}
{{- define "screener.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "screener.kafkaFiles" (index . 1) | trim }}
- {name: kafka, mountPath: /etc/comment-screener/kafka, readOnly: true}
{{- end }}
{{- with (index . 0).Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "screener.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ (index . 0).Values.tmpSize }}}
{{- with include "screener.kafkaFiles" (index . 1) | trim }}
- name: kafka
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with (index . 0).Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
