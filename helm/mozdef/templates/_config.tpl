{{/* MozDef's configuration file: `config`, and what the chart owns. */}}

{{/* Listeners. The Dockerfile exposes the same ports. */}}
{{- define "mozdef.gatewayPort" -}}8080{{- end -}}
{{- define "mozdef.adminPort" -}}9600{{- end -}}

{{- define "mozdef.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "admin" (dict "listen" (printf "0.0.0.0:%s" (include "mozdef.adminPort" .)) "serves" "health") -}}
{{- $ingest := $config.ingest | default dict -}}
{{- $http := merge (dict "listen" (printf "0.0.0.0:%s" (include "mozdef.gatewayPort" .))) ($ingest.http | default dict) -}}
{{- $_ := set $config "ingest" (set $ingest "http" $http) -}}
{{- $kafka := $config.log.kafka -}}
{{- with .Values.secrets.kafkaTls -}}
{{- if .name -}}
{{- $tls := dict -}}
{{- range $key, $file := dict "ca_file" .ca "certificate_file" .certificate "key_file" .key -}}
{{- if $file -}}{{- $_ := set $tls $key (printf "/etc/mozdef/kafka-tls/%s" $file) -}}{{- end -}}
{{- end -}}
{{- $_ := set $kafka "tls" $tls -}}
{{- end -}}
{{- end -}}
{{- with $kafka.sasl -}}
{{- $variable := ternary "client_secret_env" "password_env" (eq .mechanism "oauthbearer") -}}
{{- $_ := set . $variable "MOZDEF_KAFKA_PASSWORD" -}}
{{- end -}}
{{- with .Values.rules.configMaps -}}
{{- $correlate := $config.correlate | default dict -}}
{{- $folders := $correlate.rules | default list -}}
{{- range . -}}{{- $folders = append $folders (printf "/etc/mozdef/rules/%s" .) -}}{{- end -}}
{{- $_ := set $config "correlate" (set $correlate "rules" $folders) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Partitions of a topic: its own number, else that of all. Arguments: root, short name. */}}
{{- define "mozdef.partitions" -}}
{{- $topics := (index . 0).Values.config.log.kafka.topics | default dict -}}
{{- $own := index ($topics.by_topic | default dict) (index . 1) | default dict -}}
{{- $own.partitions | default $topics.partitions | default 6 | int -}}
{{- end -}}

{{/* The name of a topic, or of a group, on the cluster. Arguments: root, name without the prefix. */}}
{{- define "mozdef.topic" -}}
{{- (index . 0).Values.config.log.kafka.prefix | default "mozdef." -}}{{- index . 1 -}}
{{- end -}}
{{- define "mozdef.group" -}}
{{- $prefix := (index . 0).Values.config.log.kafka.prefix | default "mozdef." -}}
{{- if ne $prefix "mozdef." -}}{{- $prefix -}}{{- end -}}{{- index . 1 -}}
{{- end -}}

{{/* The port of an address `host:port` or `http(s)://host[:port]/…`. */}}
{{- define "mozdef.portOf" -}}
{{- if contains "://" . -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- else -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}
{{- end -}}

{{/* What no schema can say: relations between values. Refused with the remedy. */}}
{{- define "mozdef.check" -}}
{{- $root := . -}}
{{- $config := .Values.config -}}
{{- $http := ($config.ingest | default dict).http | default dict -}}
{{- $auth := $http.auth | default "auto" -}}
{{- if and (ne $auth "none") (not $http.tokens) -}}
{{- fail "config.ingest.http.tokens is empty: add the SHA-256 of a sender's token, or write `auth: none` to let anybody send" -}}
{{- end -}}
{{- if and (eq $auth "none") .Values.ingress.enabled -}}
{{- fail "ingress.enabled with config.ingest.http.auth `none` would let the whole world send: add `config.ingest.http.tokens` and use `auth: token`" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not (dig "enabled" .Values.common.enabled .Values.gateway)) -}}
{{- fail "ingress.enabled, but no gateway runs here: enable it, or not the ingress" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is empty: name the hosts that senders use" -}}
{{- end -}}
{{- with $config.log.kafka.sasl -}}
{{- if not $root.Values.secrets.kafkaSasl.name -}}
{{- fail "config.log.kafka.sasl needs a password: name the Secret that holds it in secrets.kafkaSasl.name" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.secrets.kafkaSasl.name (not $config.log.kafka.sasl) -}}
{{- fail "secrets.kafkaSasl.name is set, but not config.log.kafka.sasl: add `mechanism` and `username` there" -}}
{{- end -}}
{{- with .Values.secrets.kafkaTls -}}
{{- if ne (empty .certificate) (empty .key) -}}
{{- fail "secrets.kafkaTls: a certificate needs its key, and a key its certificate" -}}
{{- end -}}
{{- end -}}
{{- if ne (empty $config.sink.user) (empty .Values.secrets.openSearch.name) -}}
{{- fail "config.sink.user and secrets.openSearch.name need each other: a user and the Secret with the password" -}}
{{- end -}}
{{- range $stage := list "gateway" "normalizer" "correlator" "sink" -}}
{{- $s := include "mozdef.stage" (list $root $stage) | fromYaml -}}
{{- $drained := add 10 ($s.preStopSeconds | default 0 | int) -}}
{{- if and $s.enabled (le ($s.terminationGracePeriodSeconds | int) ($drained | int)) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d: it must be more than %d, the time to drain" $stage ($s.terminationGracePeriodSeconds | int) $drained) -}}
{{- end -}}
{{- $scaled := ne $s.autoscaling.type "none" -}}
{{- if and $scaled (gt ($s.autoscaling.min | int) ($s.autoscaling.max | int)) -}}
{{- fail (printf "%s.autoscaling.min is %d, more than max, which is %d" $stage ($s.autoscaling.min | int) ($s.autoscaling.max | int)) -}}
{{- end -}}
{{- $most := ternary $s.autoscaling.max $s.replicas $scaled | int -}}
{{- $partitions := 0 -}}
{{- range (include "mozdef.reads" $stage | fromYamlArray) -}}
{{- $partitions = max $partitions (include "mozdef.partitions" (list $root .topic)) -}}
{{- end -}}
{{- if and $s.enabled $partitions (gt $most ($partitions | int)) -}}
{{- fail (printf "%s: %d instances, but its topics have only %d partitions; the others would have nothing to do. Raise config.log.kafka.topics.partitions, or lower %s" $stage $most $partitions (ternary "autoscaling.max" "replicas" $scaled)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
