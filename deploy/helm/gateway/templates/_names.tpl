{{- define "conviction.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- define "conviction.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "conviction.labels" -}}
{{ include "conviction.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "conviction.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}{{ if $image.tag }}:{{ $image.tag }}{{ end }}{{ if $image.digest }}@{{ $image.digest }}{{ end }}
{{- end }}

{{/* Those of one backend or of the other: a namespace's pods or a range of addresses. */}}
{{- define "conviction.peer" -}}
{{- if .namespace }}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ .namespace }}}
{{- end }}
{{- if .cidr }}
- ipBlock: {cidr: {{ .cidr | quote }}}
{{- end }}
{{- end }}
