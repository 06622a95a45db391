{{/* comment-screener, where the release is called so, or RELEASE-comment-screener; leaves room for a suffix. */}}
{{- define "screener.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What tells this release's objects from others', and never changes. */}}
{{- define "screener.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "screener.worker" -}}
{{ include "screener.selector" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "screener.labels" -}}
{{ include "screener.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "screener.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "screener.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "screener.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}
