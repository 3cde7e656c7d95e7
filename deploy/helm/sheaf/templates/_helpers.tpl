{{- define "sheaf.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for the names of cron jobs, which have at most 52 characters. */}}
{{- define "sheaf.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "sheaf.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "sheaf.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sheaf.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sheaf.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sheaf.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "sheaf.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sheaf.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "sheaf.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sheaf.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sheaf.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "sheaf.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Where the cold tier is; for the API and for jobs. */}}
{{- define "sheaf.s3Env" -}}
- name: SHEAF_S3_BUCKET
  value: {{ required "s3.bucket is required" .Values.s3.bucket | quote }}
- name: SHEAF_S3_REGION
  value: {{ .Values.s3.region | quote }}
{{- with .Values.s3.endpoint }}
- name: SHEAF_S3_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.s3.storageClass }}
- name: SHEAF_S3_STORAGE_CLASS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.s3.objectLock }}
- name: SHEAF_S3_OBJECT_LOCK
  value: {{ . | quote }}
{{- end }}
{{- if .Values.secrets.s3.name }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef: { name: {{ .Values.secrets.s3.name }}, key: {{ .Values.secrets.s3.accessKeyIdKey }} }
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: { name: {{ .Values.secrets.s3.name }}, key: {{ .Values.secrets.s3.secretAccessKeyKey }} }
{{- end }}
{{- end }}

{{- define "sheaf.ownerEnv" -}}
- name: SHEAF_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "secrets.owner.name is required for migrations and jobs" .Values.secrets.owner.name }}
      key: {{ .Values.secrets.owner.databaseUrlKey }}
{{- end }}

{{- define "sheaf.databaseCAMount" -}}
{{- if .Values.databaseCA.configMap }}
- name: database-ca
  mountPath: /etc/sheaf/database
  readOnly: true
{{- end }}
{{- end }}

{{- define "sheaf.databaseCAVolume" -}}
{{- if .Values.databaseCA.configMap }}
- name: database-ca
  configMap:
    name: {{ .Values.databaseCA.configMap }}
    items:
      - { key: {{ .Values.databaseCA.key }}, path: ca.pem }
{{- end }}
{{- end }}

{{- define "sheaf.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
