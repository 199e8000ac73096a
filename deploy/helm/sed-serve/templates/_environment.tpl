{{/* What the program is told outside of its configuration file. */}}
{{- define "sed-serve.device" -}}
{{- $gpus := int .Values.gpu.count }}
{{- $all := list }}
{{- range $index := until $gpus }}{{ $all = append $all (printf "cuda:%d" $index) }}{{ end }}
{{- .Values.device | default (ternary (join "," $all) "cpu" (gt $gpus 0)) }}
{{- end }}

{{/* What every command of the program is told of the model and of its log. `device` is the Job's, which uses one. */}}
{{- define "sed-serve.modelEnvironment" -}}
- name: SED_DEVICE
  value: {{ .device | default (include "sed-serve.device" .) | quote }}
- name: SED_DTYPE
  value: {{ .Values.dtype }}
{{- if .Values.tf32 }}
- name: SED_TF32
  value: "true"
{{- end }}
- name: SED_THREADS
  value: {{ int .Values.threads | quote }}
- name: SED_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: SED_LOG_LEVEL
  value: {{ .Values.log.level | quote }}
{{- with .Values.model }}
{{- if ne .source "embedded" }}
- name: SED_MODEL
  value: {{ printf "/models/%s" .file | quote }}
{{- with .configFile }}
- name: SED_MODEL_CONFIG
  value: {{ printf "/models/%s" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if gt (int .Values.gpu.count) 0 }}
# The driver keeps here what it compiles; its usual place is not writable.
- name: CUDA_CACHE_PATH
  value: /tmp/cuda
{{- end }}
{{- end }}

{{- define "sed-serve.environment" -}}
- name: SED_CONFIG
  value: /etc/sed-serve/config/sed-serve.toml
- name: SED_LISTEN
  value: {{ printf "%s:50051" .Values.listenAddress | quote }}
- name: SED_OPS_LISTEN
  value: {{ printf "%s:9464" .Values.listenAddress | quote }}
{{ include "sed-serve.modelEnvironment" . }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_SERVICE_NAME
  value: {{ include "sed-serve.fullname" $ }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.namespace.name=%s,k8s.pod.name=$(POD_NAME)" $.Release.Namespace | quote }}
{{- with .sampler }}
- name: OTEL_TRACES_SAMPLER
  value: {{ . }}
{{- end }}
{{- with .samplerArgument }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
