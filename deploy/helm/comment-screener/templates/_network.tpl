{{/* The way out: to DNS, to Kafka as in a dictionary like .Values.kafka, to what else is named. (list $ $kafka) */}}
{{- define "screener.egress" -}}
{{- $policy := (index . 0).Values.networkPolicy -}}
{{- $ports := list -}}
{{- range splitList "," (index . 1).bootstrapServers -}}
{{- $ports = append $ports (splitList ":" (trim .) | last | int) -}}
{{- end -}}
{{- range $policy.kafkaPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
- to:
    {{- toYaml $policy.dnsTo | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    {{- range $ports | uniq }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with $policy.kafkaTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
