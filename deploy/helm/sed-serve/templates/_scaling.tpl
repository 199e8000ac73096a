{{/* This release's series. A Deployment's pods are called NAME-REVISION-POD. */}}
{{- define "sed-serve.series" -}}
{{- $own := printf "namespace=%q, pod=~\"%s-[0-9a-z]+-[0-9a-z]+\"" .Release.Namespace (include "sed-serve.fullname" .) }}
{{- .Values.autoscaling.keda.selector | default $own }}
{{- end }}

{{/* Pods come quickly, and as many as are needed; they go one by one. */}}
{{- define "sed-serve.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Percent, value: 100, periodSeconds: 30}
    - {type: Pods, value: 2, periodSeconds: 30}
scaleDown:
  stabilizationWindowSeconds: {{ int .Values.autoscaling.scaleDownAfterSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: 60}
{{- end }}
