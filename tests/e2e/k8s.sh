#!/usr/bin/env bash
# Applies deploy/k8s to a real Kubernetes API: first with --dry-run=server, then for real, then once more to check that nothing is left to change.
#
#   tests/e2e/k8s.sh
#
# Not in CI and skipped (exit code 77) without ../shared/tools: building kube-apiserver takes minutes, the first time (into $PEERS, default ../peers). Needs kubectl, Go, openssl and
# etcd (Debian: etcd-server). No node runs the pods: the check is that the API accepts the manifests without warnings.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers=${PEERS:-$PWD/../peers}
folder=$(mktemp -d)
# The programs of Kubernetes and the script that starts them are not part of this repository.
[ -x ../shared/tools/kube.sh ] || { echo "skipped: no ../shared/tools/kube.sh to start a Kubernetes API"; exit 77; }
../shared/tools/peers.sh "$peers" kube-apiserver kube-controller-manager
BIN=$peers ../shared/tools/kube.sh "$folder" >"$folder/kube.log" 2>&1 &
kube=$!
trap 'kill $kube 2>/dev/null; wait $kube 2>/dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 240); do
  grep -q '^ready' "$folder/kube.log" && break
  kill -0 $kube 2>/dev/null || { cat "$folder/kube.log"; tail "$folder"/*.log; exit 1; }
  sleep 0.5
done
export KUBECONFIG=$folder/kubeconfig

# Only the CRD of prometheus-operator is needed.
kubectl apply -f - <<'CRD'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, listKind: ServiceMonitorList, plural: servicemonitors, singular: servicemonitor}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
CRD
kubectl wait --for=condition=established --timeout=60s crd/servicemonitors.monitoring.coreos.com

apply() {
  kubectl apply --warnings-as-errors -k deploy/k8s "$@" | tee "$folder/out"
}
# A controller creates the default service account of a namespace late. The manifests bring their own.
apply --dry-run=server
[ "$(grep -c 'created (server dry run)' "$folder/out")" = "$(kubectl kustomize deploy/k8s | grep -c '^kind:')" ] || { echo "the dry run would not create everything"; exit 1; }
kubectl get statefulsets -o name | grep . && { echo "the dry run created something"; exit 1; }
# Pharos must satisfy Kubernetes's strictest pod security profile.
kubectl label namespace default pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted
apply
kubectl diff -k deploy/k8s || { echo "applying again would change something"; exit 1; }

# Controllers create the pods and volume claims of the StatefulSets, and disruption budgets select the pods.
for _ in $(seq 240); do
  pods=$(kubectl get pods -l app.kubernetes.io/name=pharos --no-headers 2>/dev/null | wc -l)
  # Ingesters start one at a time, and nothing runs them, so only the first one exists.
  [ "$pods" -ge 17 ] && break
  sleep 0.5
done
kubectl get pods,pvc,pdb,svc -o wide
[ "$pods" = 17 ] || { echo "$pods pods, expected 17: 3 meta, 1 ingester, 2 agents, 2 stores, 2 frontends, 1 compactor, 2 rulers, 2 Alertmanagers, 1 webhook, 1 MinIO"; kubectl get events | tail -20; exit 1; }
! kubectl get events --no-headers | grep -i 'failedcreate' || exit 1
echo "Kubernetes accepts deploy/k8s"
