{{/* One probe. `kind` is startup, readiness or liveness; the process lives under the empty name, the service is ready
     under its own. */}}
{{- define "sed-serve.probe" -}}
{{- if eq .values.probes.type "grpc" }}
grpc:
  port: 50051
  service: {{ ternary "" "sed.v1.SegmentationService" (eq .kind "liveness") | quote }}
{{- else }}
httpGet:
  path: {{ ternary "/livez" "/readyz" (eq .kind "liveness") }}
  port: ops
{{- end }}
{{ toYaml (get .values.probes .kind) }}
{{- end }}
