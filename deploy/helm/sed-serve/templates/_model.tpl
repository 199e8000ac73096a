{{/* Where the model comes from: the volume, and for fetch the container that fills it. */}}
{{- define "sed-serve.modelVolume" -}}
- name: model
  {{- with .Values.model }}
  {{- if eq .source "pvc" }}
  persistentVolumeClaim:
    claimName: {{ .pvc.claimName }}
    readOnly: true
  {{- else if eq .source "image" }}
  image:
    reference: {{ .image.reference | quote }}
    pullPolicy: {{ .image.pullPolicy }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .fetch.sizeLimit }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The file appears under its name only once its checksum is right. */}}
{{- define "sed-serve.fetch" -}}
- name: fetch-model
  image: {{ .Values.model.fetch.image | quote }}
  imagePullPolicy: IfNotPresent
  command: [/bin/sh, -euc]
  args:
    - |
      cd /models
      set -- --fail --location --silent --show-error --retry 5 --retry-connrefused --output part
      if [ -n "${AUTHORIZATION:-}" ]; then set -- "$@" --header "Authorization: $AUTHORIZATION"; fi
      curl "$@" "$URL"
      echo "$SHA256  part" | sha256sum -c -
      mkdir -p "$(dirname "$FILE")"
      mv part "$FILE"
  env:
    - name: URL
      value: {{ .Values.model.fetch.url | quote }}
    - name: SHA256
      value: {{ .Values.model.fetch.sha256 | lower | quote }}
    - name: FILE
      value: {{ .Values.model.file | quote }}
    {{- with .Values.model.fetch.authorization }}
    {{- if .secretName }}
    - name: AUTHORIZATION
      valueFrom:
        secretKeyRef:
          name: {{ .secretName }}
          key: {{ .key }}
    {{- end }}
    {{- end }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources:
    requests: {cpu: 100m, memory: 64Mi}
    limits: {memory: 256Mi}
  volumeMounts:
    - name: model
      mountPath: /models
{{- end }}
