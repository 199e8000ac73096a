{{/* The names of the vocabularies that are prepared then, as JSON; an empty `when` is all of them. */}}
{{- define "sed-serve.vocabularies" -}}
{{- $names := list }}
{{- range .values.vocabularies }}
{{- if or (not $.when) (eq $.when (.when | default "background")) }}{{ $names = append $names .name }}{{ end }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{/* The settings that follow from other values. What their keys are instead of stands in _checks.tpl. */}}
{{- define "sed-serve.derivedSettings" -}}
shutdown_delay_seconds: {{ .Values.drain.delaySeconds }}
shutdown_grace_seconds: {{ .Values.drain.graceSeconds }}
{{- if .Values.sharedTextCache.enabled }}
text_cache_dir: {{ include "sed-serve.textCacheFolder" . }}
{{- end }}
{{- with include "sed-serve.vocabularies" (dict "values" .Values "when" "beforeReadiness") | fromJsonArray }}
preload_vocabulary: {{ toJson . }}
{{- end }}
{{- with include "sed-serve.vocabularies" (dict "values" .Values "when" "background") | fromJsonArray }}
prepare_vocabulary: {{ toJson . }}
{{- end }}
{{- if .Values.tls.secretName }}
tls_certificate: /etc/sed-serve/tls/tls.crt
tls_key: /etc/sed-serve/tls/tls.key
{{- end }}
{{- if .Values.tls.clientCa.secretName }}
tls_client_ca: /etc/sed-serve/client-ca/ca.crt
{{- end }}
{{- if .Values.tokens.secretName }}
tokens: /etc/sed-serve/tokens/tokens
{{- end }}
{{- end }}

{{/* A map as TOML. Helm's numbers are all floating-point and its own toToml would write 1e+09 for a whole number. */}}
{{- define "sed-serve.toml" -}}
{{- range $key, $value := . }}
{{- if kindIs "invalid" $value }}{{- /* Left empty. */}}
{{- else if and (kindIs "float64" $value) (eq (floor $value) $value) }}
{{ $key }} = {{ int64 $value }}
{{- else if kindIs "float64" $value }}
{{ $key }} = {{ $value }}
{{- else }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
