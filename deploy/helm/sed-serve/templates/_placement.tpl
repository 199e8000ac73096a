{{/* Where a pod runs and what it takes there. */}}
{{- define "sed-serve.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- $count := int .Values.gpu.count }}
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
