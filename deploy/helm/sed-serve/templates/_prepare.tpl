{{/* The pod of the Job that fills the shared volume. Its labels are not those of the service's pods. */}}
{{- define "sed-serve.prepareSelector" -}}
app.kubernetes.io/name: {{ printf "%s-prepare" (include "sed-serve.name" . | trunc 55 | trimSuffix "-") }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sed-serve.preparePod" -}}
metadata:
  labels:
    {{- include "sed-serve.prepareSelector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  {{- include "sed-serve.podBasics" . | nindent 2 }}
  containers:
    - name: prepare
      image: {{ include "sed-serve.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - vocabulary
        - prepare
        {{- range include "sed-serve.vocabularies" (dict "values" .Values) | fromJsonArray }}
        - {{ . | quote }}
        {{- end }}
        - --text-cache-dir
        - {{ include "sed-serve.textCacheFolder" . }}
      env:
        {{- $device := include "sed-serve.device" . | splitList "," | first }}
        {{- include "sed-serve.modelEnvironment" (dict "Values" .Values "device" $device) | nindent 8 }}
      resources:
        {{- $own := dict "resources" .Values.prepareJob.resources "gpus" (min 1 .Values.gpu.count) }}
        {{- include "sed-serve.resources" (merge $own (dict "Values" .Values)) | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        {{- include "sed-serve.modelMounts" . | nindent 8 }}
  volumes:
    {{- include "sed-serve.modelVolumes" . | nindent 4 }}
  {{- include "sed-serve.placement" . | nindent 2 }}
{{- end }}

{{/* A Job cannot be changed, so that another pod is another Job: an upgrade replaces it, and one that changes nothing of
     it leaves it alone. */}}
{{- define "sed-serve.prepareJob" -}}
{{- $short := include "sed-serve.fullname" . | trunc 46 | trimSuffix "-" }}
{{- $whole := printf "%s %s" (include "sed-serve.fullname" .) (include "sed-serve.preparePod" .) }}
{{- printf "%s-prepare-%s" $short ($whole | sha256sum | trunc 8) }}
{{- end }}
