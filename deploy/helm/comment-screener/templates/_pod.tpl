{{/* What the pods have in common: the worker's, the topics Job's and that of `helm test`. */}}

{{- define "screener.pod" -}}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
# A service called "screener" would become variables that look like our settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* With podSecurityContext the pod security standard "restricted", and a file system that nobody writes to. */}}
{{- define "screener.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What a pod is selected by is ours, whatever podLabels says: (list $ labels). */}}
{{- define "screener.podLabels" -}}
{{- mergeOverwrite (dict) ((index . 0).Values.podLabels | default dict) (index . 1) | toYaml -}}
{{- end -}}

{{/* Of a pod that runs once: (list $ "component"). */}}
{{- define "screener.hookLabels" -}}
{{- $labels := include "screener.labels" (index . 0) | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/component" (index . 1) -}}
{{- $labels = mergeOverwrite (dict) ((index . 0).Values.hooks.podLabels | default dict) $labels -}}
{{- include "screener.podLabels" (list (index . 0) $labels) -}}
{{- end -}}

{{- define "screener.hookAnnotations" -}}
{{- with mergeOverwrite (dict) (.Values.podAnnotations | default dict) (.Values.hooks.podAnnotations | default dict) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
