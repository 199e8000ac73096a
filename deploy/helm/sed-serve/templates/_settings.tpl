{{/* The settings that follow from other values. What their keys are instead of stands in _checks.tpl. */}}
{{- define "sed-serve.derivedSettings" -}}
shutdown_delay_seconds: {{ .Values.drain.delaySeconds }}
shutdown_grace_seconds: {{ .Values.drain.graceSeconds }}
{{- if .Values.sharedTextCache.enabled }}
text_cache_dir: /var/cache/sed-serve/text
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
