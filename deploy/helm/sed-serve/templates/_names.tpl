{{- define "sed-serve.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters leave room for `-headless` and for what a Deployment adds to the names of its pods. */}}
{{- define "sed-serve.fullname" -}}
{{- $name := include "sed-serve.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "sed-serve.selector" -}}
app.kubernetes.io/name: {{ include "sed-serve.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sed-serve.labels" -}}
{{ include "sed-serve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sed-serve.metadata" -}}
name: {{ include "sed-serve.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "sed-serve.labels" . | nindent 2 }}
{{- end }}

{{- define "sed-serve.image" -}}
{{- $tag := .Values.image.tag | default (ternary "cuda" "cpu" (gt (int .Values.gpu.count) 0)) }}
{{- printf "%s:%s" .Values.image.repository $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "sed-serve.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "sed-serve.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "sed-serve.textCacheClaim" -}}
{{- .Values.sharedTextCache.existingClaim | default (printf "%s-text-cache" (include "sed-serve.fullname" .)) }}
{{- end }}

{{- define "sed-serve.textCacheFolder" -}}
/var/cache/sed-serve/text
{{- end }}
