{{/* Values that the schema allows one by one but not together. Renders nothing. */}}
{{- define "sed-serve.checks" -}}
{{- $values := .Values }}
{{- $instead := dict
  "listen" "listenAddress" "ops_listen" "listenAddress"
  "shutdown_delay_seconds" "drain.delaySeconds" "shutdown_grace_seconds" "drain.graceSeconds"
  "text_cache_dir" "sharedTextCache.enabled"
  "tls_certificate" "tls.secretName" "tls_key" "tls.secretName" "tls_client_ca" "tls.clientCa.secretName"
  "tokens" "tokens.secretName" }}
{{- range $key, $value := $values.settings }}
  {{- if and (hasKey $instead $key) (not (kindIs "invalid" $value)) }}
    {{- fail (printf "settings.%s belongs to the chart: set %s instead" $key (get $instead $key)) }}
  {{- end }}
{{- end }}
{{- $seen := dict }}
{{- range $values.vocabularies }}
  {{- if hasKey $seen .name }}
    {{- fail (printf "vocabularies has %s twice: once is enough" .name) }}
  {{- end }}
  {{- $_ := set $seen .name true }}
{{- end }}
{{- if $values.vocabularies }}
  {{- range list "preload_vocabulary" "prepare_vocabulary" }}
    {{- if get $values.settings . }}
      {{- fail (printf "settings.%s and vocabularies say the same: list its names in vocabularies" .) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if $values.prepareJob.enabled }}
  {{- if not $values.sharedTextCache.enabled }}
    {{- fail "prepareJob fills the volume that pods share: set sharedTextCache.enabled" }}
  {{- end }}
  {{- if not $values.vocabularies }}
    {{- fail "prepareJob has nothing to prepare: list names in vocabularies" }}
  {{- end }}
{{- end }}
{{- $longest := $values.settings.max_timeout_seconds | default 60 }}
{{- if lt (float64 $values.drain.graceSeconds) (float64 $longest) }}
  {{- fail (printf "drain.graceSeconds (%v) is shorter than the longest request (settings.max_timeout_seconds, %v): a rollout would cut requests off; raise the one or lower the other" $values.drain.graceSeconds $longest) }}
{{- end }}
{{- with $values.model }}
  {{- if and (ne .source "embedded") (not .file) }}
    {{- fail (printf "model.source is %s: name the checkpoint within the volume in model.file" .source) }}
  {{- end }}
  {{- if and (eq .source "embedded") .file }}
    {{- fail (printf "model.file is %s, but model.source is embedded: set it to pvc, image or fetch" .file) }}
  {{- end }}
  {{- if and (eq .source "pvc") (not .pvc.claimName) }}
    {{- fail "model.source is pvc: set model.pvc.claimName" }}
  {{- end }}
  {{- if and (eq .source "image") (not .image.reference) }}
    {{- fail "model.source is image: set model.image.reference" }}
  {{- end }}
  {{- if and (eq .source "fetch") (not (and .fetch.url .fetch.sha256)) }}
    {{- fail "model.source is fetch: set model.fetch.url and model.fetch.sha256" }}
  {{- end }}
  {{- if and (eq .source "fetch") .configFile }}
    {{- fail "model.configFile cannot be fetched: use model.source pvc or image" }}
  {{- end }}
{{- end }}
{{- if and (eq $values.dtype "f16") (eq (int $values.gpu.count) 0) }}
  {{- fail "dtype f16 is for GPUs only: set gpu.count, or dtype f32 or bf16" }}
{{- end }}
{{- if and $values.tls.clientCa.secretName (not $values.tls.secretName) }}
  {{- fail "tls.clientCa.secretName needs a certificate of the server too: set tls.secretName" }}
{{- end }}
{{- if eq $values.probes.type "grpc" }}
  {{- if $values.tls.secretName }}
    {{- fail "probes.type grpc cannot be combined with tls.secretName: the kubelet speaks no TLS; use http" }}
  {{- end }}
  {{- if and $values.tokens.secretName $values.settings.health_needs_token }}
    {{- fail "probes.type grpc cannot be combined with settings.health_needs_token: the kubelet has no token; use http" }}
  {{- end }}
{{- end }}
{{- with $values.autoscaling }}
  {{- if and (ne .kind "none") (gt (int .minReplicas) (int .maxReplicas)) }}
    {{- fail (printf "autoscaling.minReplicas (%v) is above autoscaling.maxReplicas (%v)" .minReplicas .maxReplicas) }}
  {{- end }}
  {{- if and (eq .kind "keda") (not .keda.prometheusAddress) }}
    {{- fail "autoscaling.kind is keda: set autoscaling.keda.prometheusAddress" }}
  {{- end }}
{{- end }}
{{- with $values.podDisruptionBudget }}
  {{- if and .enabled (eq (empty (toString .minAvailable)) (empty (toString .maxUnavailable))) }}
    {{- fail "podDisruptionBudget needs exactly one of minAvailable and maxUnavailable: set the other to \"\"" }}
  {{- end }}
{{- end }}
{{- if and $values.serviceMonitor.enabled $values.podMonitor.enabled }}
  {{- fail "serviceMonitor and podMonitor would count every pod twice: enable one of them" }}
{{- end }}
{{- end }}
