{{- define "conviction.environment" -}}
- {name: CONVICTION_HOST, value: "0.0.0.0"}
- {name: CONVICTION_PORT, value: "8080"}
- {name: CONVICTION_API_KEYS_FILE, value: /run/secrets/api_keys}
- {name: CONVICTION_DRAIN_S, value: {{ .Values.drainSeconds | quote }}}
- {name: CONVICTION_BACKEND_TIMEOUT_S, value: {{ .Values.backendTimeoutSeconds | quote }}}
{{- if .Values.experiments }}
- {name: CONVICTION_EXPERIMENTS_FILE, value: /etc/conviction/experiments/experiments.json}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
- {name: REDIS_URL_FILE, value: /run/secrets/redis_url}
{{- if .Values.secrets.redisPassword.name }}
- {name: REDIS_PASSWORD_FILE, value: /run/secrets/redis_password}
{{- end }}
{{- if .Values.secrets.openai.name }}
- {name: OPENAI_API_KEY_FILE, value: /run/secrets/openai_api_key}
{{- end }}
{{- if .Values.secrets.decisionLogUrl.name }}
- {name: CONVICTION_DECISION_LOG_URL_FILE, value: /run/secrets/decision_log_url}
{{- end }}
{{- if .Values.secrets.budgetWebhookUrl.name }}
- {name: CONVICTION_BUDGET_WEBHOOK_URL_FILE, value: /run/secrets/budget_webhook_url}
{{- end }}
{{- if .Values.secrets.budgetWebhookSecret.name }}
- {name: CONVICTION_BUDGET_WEBHOOK_SECRET_FILE, value: /run/secrets/budget_webhook_secret}
{{- end }}
{{- end }}
