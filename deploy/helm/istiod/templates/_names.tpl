{{- define "istiod.revision" -}}
{{ .Values.revision | default "default" }}
{{- end -}}

{{/* Behind the names of what a revision has for itself. */}}
{{- define "istiod.suffix" -}}
{{ if ne (include "istiod.revision" .) "default" }}-{{ .Values.revision }}{{ end }}
{{- end -}}

{{- define "istiod.name" -}}
istiod{{ include "istiod.suffix" . }}
{{- end -}}

{{- define "istiod.selector" -}}
app: istiod
istio.io/rev: {{ include "istiod.revision" . | quote }}
{{- end -}}

{{- define "istiod.labels" -}}
{{ include "istiod.selector" . }}
app.kubernetes.io/name: istiod
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: istio
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
install.trysail.io/namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{- define "istiod.tag" -}}
{{ .Values.global.tag | default .Chart.AppVersion }}
{{- end -}}
