{{/* Puts the defaults in for keys that were left empty (`nodeSelector:`), which Helm takes for a wish to have none of it.
     Every template that is rendered begins with it, because their order is Helm's. Renders nothing. */}}
{{- define "sed-serve.fillIn" -}}
{{- $defaults := .Files.Get "files/defaults.json" | required "this chart was packaged without files/defaults.json: run deploy/helm/sync in the repository" | fromJson }}
{{- range $path, $default := $defaults }}
  {{- $keys := splitList "." $path }}
  {{- $values := $.Values }}
  {{- range initial $keys }}
    {{- if kindIs "invalid" (index $values .) }}{{- $_ := set $values . dict }}{{- end }}
    {{- $values = index $values . }}
  {{- end }}
  {{- if kindIs "invalid" (index $values (last $keys)) }}{{- $_ := set $values (last $keys) $default }}{{- end }}
{{- end }}
{{- end }}
