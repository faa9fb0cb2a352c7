{{- define "gateway.name" -}}
{{ .Values.name | default .Release.Name }}
{{- end -}}

{{- define "gateway.selector" -}}
{{- if .Values.labels -}}
{{ toYaml .Values.labels }}
{{- else -}}
app: {{ include "gateway.name" . }}
istio: {{ include "gateway.name" . | trimPrefix "istio-" }}
{{- end -}}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: istio
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
install.trysail.io/namespace: {{ .Release.Namespace | quote }}
{{- end -}}
