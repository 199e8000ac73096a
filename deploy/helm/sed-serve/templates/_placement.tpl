{{/* Whose rights a pod has, where it runs and what it takes there. */}}
{{- define "sed-serve.podBasics" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "sed-serve.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if and (gt (int .Values.gpu.count) 0) .Values.gpu.runtimeClassName }}
runtimeClassName: {{ .Values.gpu.runtimeClassName }}
{{- end }}
{{- if eq .Values.model.source "fetch" }}
initContainers:
  {{- include "sed-serve.fetch" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Resources with the GPUs; `resources` and `gpus` are the Job's, where they are others. */}}
{{- define "sed-serve.resources" -}}
{{- $resources := deepCopy (.resources | default .Values.resources) }}
{{- $count := int (.gpus | default .Values.gpu.count) }}
{{- if gt $count 0 }}
{{- $gpus := dict .Values.gpu.resourceName (toString $count) }}
{{- $resources = mergeOverwrite $resources (dict "requests" $gpus) (dict "limits" (deepCopy $gpus)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- define "sed-serve.placement" -}}
{{- $gpu := gt (int .Values.gpu.count) 0 }}
{{- with ternary (merge (deepCopy .Values.nodeSelector) .Values.gpu.nodeSelector) .Values.nodeSelector $gpu }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with ternary (concat .Values.tolerations .Values.gpu.tolerations) .Values.tolerations $gpu }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sed-serve.spread" -}}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels:
        {{- include "sed-serve.selector" $ | nindent 8 }}
    # Each revision spreads by itself; else the pods of the old one decide where the new ones go.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}
