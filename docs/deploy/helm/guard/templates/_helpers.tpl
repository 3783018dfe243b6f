{{- define "guard.name" -}}
{{- printf "%s-guard" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "guard.instance" -}}
app.kubernetes.io/name: guard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "guard.selector" -}}
{{ include "guard.instance" . }}
app.kubernetes.io/component: guard
{{- end -}}

{{- define "guard.adminSelector" -}}
{{ include "guard.instance" . }}
app.kubernetes.io/component: admin
{{- end -}}

{{- define "guard.labels" -}}
{{ include "guard.selector" . }}
{{ include "guard.chart" . }}
{{- end -}}

{{- define "guard.adminLabels" -}}
{{ include "guard.adminSelector" . }}
{{ include "guard.chart" . }}
{{- end -}}

{{- define "guard.chart" -}}
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
{{- if .Values.proxy.metricsPort }}
- --metrics-host
- 0.0.0.0
- --metrics-port
- {{ .Values.proxy.metricsPort | quote }}
{{- end }}
- --drain-timeout
- {{ .Values.drainSeconds | quote }}
{{- else if eq .Values.mode "server" }}
- serve
- {{ required "server.model: give the model's name" .Values.server.model | quote }}
- --shutdown-timeout
- {{ .Values.drainSeconds | quote }}
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
{{- if .Values.audit.claim }}{{ $names = append $names "GUARD_AUDIT_KEY" }}{{ end -}}
{{- range $names }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.secretName }}
      key: {{ . }}
{{- end }}
{{- end -}}

{{- define "guard.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "guard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "guard.endpoint" -}}
{{- if and (eq .Values.mode "proxy") .Values.proxy.metricsPort -}}
http://{{ include "guard.name" . }}-metrics:{{ .Values.proxy.metricsPort }}
{{- else -}}
http://{{ include "guard.name" . }}:{{ .Values.service.port }}
{{- end -}}
{{- end -}}
