{{/* The volumes of every command of the program: its model and the shared text embeddings. */}}
{{- define "sed-serve.modelVolumes" -}}
- name: tmp
  emptyDir: {}
{{- if ne .Values.model.source "embedded" }}
{{ include "sed-serve.modelVolume" . }}
{{- end }}
{{- if .Values.sharedTextCache.enabled }}
- name: text-cache
  persistentVolumeClaim:
    claimName: {{ include "sed-serve.textCacheClaim" . }}
{{- end }}
{{- end }}

{{- define "sed-serve.modelMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if ne .Values.model.source "embedded" }}
- name: model
  mountPath: /models
  readOnly: true
  {{- if and (eq .Values.model.source "pvc") .Values.model.pvc.subPath }}
  subPath: {{ .Values.model.pvc.subPath }}
  {{- end }}
{{- end }}
{{- if .Values.sharedTextCache.enabled }}
- name: text-cache
  mountPath: {{ include "sed-serve.textCacheFolder" . }}
{{- end }}
{{- end }}

{{/* Secrets are mounted as folders, never as subPath: only folders follow a renewed secret. */}}
{{- define "sed-serve.volumes" -}}
- name: config
  configMap:
    name: {{ include "sed-serve.fullname" . }}
{{ include "sed-serve.modelVolumes" . }}
{{- with .Values.tls }}
{{- if .secretName }}
- name: tls
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end }}
{{- with .clientCa }}
{{- if .secretName }}
- name: client-ca
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      - {key: {{ .key | quote }}, path: ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.tokens }}
{{- if .secretName }}
- name: tokens
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      - {key: {{ .key | quote }}, path: tokens}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sed-serve.mounts" -}}
- name: config
  mountPath: /etc/sed-serve/config
  readOnly: true
{{ include "sed-serve.modelMounts" . }}
{{- if .Values.tls.secretName }}
- name: tls
  mountPath: /etc/sed-serve/tls
  readOnly: true
{{- end }}
{{- if .Values.tls.clientCa.secretName }}
- name: client-ca
  mountPath: /etc/sed-serve/client-ca
  readOnly: true
{{- end }}
{{- if .Values.tokens.secretName }}
- name: tokens
  mountPath: /etc/sed-serve/tokens
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
