{{- define "guard.name" -}}
{{- printf "%s-guard" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "guard.selector" -}}
app.kubernetes.io/name: guard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "guard.labels" -}}
{{ include "guard.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "guard.port" -}}
{{- get (dict "proxy" 8100 "server" 8000 "guardrail" 8103) .Values.mode | required "mode: give proxy, server or guardrail" -}}
{{- end -}}

{{- define "guard.args" -}}
{{- $port := include "guard.port" . -}}
{{- if eq .Values.mode "proxy" }}
- proxy
- --upstream
- {{ required "proxy.upstream: give the server's address" .Values.proxy.upstream | quote }}
{{- with .Values.proxy.servedModelName }}
- --served-model-name
- {{ . | quote }}
{{- end }}
{{- else if eq .Values.mode "server" }}
- serve
- {{ required "server.model: give the model's name" .Values.server.model | quote }}
{{- if .Values.audit.claim }}
- --audit
- /var/lib/guard/audit
{{- end }}
{{- else }}
- guardrail
{{- end }}
- --bundle
- /bundle/{{ .Values.bundle.path }}
- --host
- 0.0.0.0
- --port
- {{ $port | quote }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "guard.secrets" -}}
{{- $names := get (dict "proxy" (list "GUARD_UPSTREAM_KEY" "GUARD_PROXY_KEY") "server" (list "VLLM_API_KEY") "guardrail" (list "GUARD_GUARDRAIL_KEY")) .Values.mode -}}
{{- if and .Values.audit.claim (ne .Values.mode "proxy") }}{{ $names = append $names "GUARD_AUDIT_KEY" }}{{ end -}}
{{- range $names }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.secretName }}
      key: {{ . }}
{{- end }}
{{- end -}}
