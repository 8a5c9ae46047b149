//! `portcullis generate grafana`: a dashboard of the metrics of this version.

pub(super) mod panels;

use clap::Args;
use serde_json::{Value, json};

use self::panels::{Panel, ROWS};
use crate::cli::{Exit, Streams};

/// The width of a dashboard, and the size of a panel in it.
const WIDTH: usize = 24;
const PANEL: (usize, usize) = (8, 8);

/// Arguments of `generate grafana`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate grafana > portcullis.json     then Dashboards > New > Import, or a provisioned folder")]
pub(super) struct Grafana {}

/// Prints.
pub(super) fn run(streams: &mut Streams<'_>) -> Exit {
    streams.print(format_args!("{:#}", dashboard()));
    Exit::Done
}

fn dashboard() -> Value {
    let mut panels = Vec::new();
    let (mut id, mut y) = (0, 0);
    for row in &ROWS {
        id += 1;
        panels.push(json!({
            "collapsed": false, "gridPos": { "h": 1, "w": WIDTH, "x": 0, "y": y }, "id": id, "panels": [],
            "title": row.title, "type": "row",
        }));
        y += 1;
        let columns = WIDTH / PANEL.0;
        for (at, panel) in row.panels.iter().enumerate() {
            id += 1;
            let place = json!({
                "h": PANEL.1, "w": PANEL.0, "x": at % columns * PANEL.0, "y": y + at / columns * PANEL.1,
            });
            panels.push(graph(panel, id, &place));
        }
        y += row.panels.len().div_ceil(columns) * PANEL.1;
    }
    json!({
        "description": concat!("Made by portcullis ", env!("CARGO_PKG_VERSION"), ", for the metrics of this version."),
        "editable": true,
        "graphTooltip": 1,
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": 39,
        "tags": ["portcullis", "mcp"],
        "templating": { "list": [source(), server()] },
        "time": { "from": "now-1h", "to": "now" },
        "timezone": "browser",
        "title": "Portcullis",
        "uid": "portcullis",
        "version": 1,
    })
}

/// The Prometheus to ask.
fn source() -> Value {
    json!({ "label": "Data source", "name": "source", "query": "prometheus", "type": "datasource" })
}

/// The servers to show.
fn server() -> Value {
    json!({
        "allValue": ".*",
        "current": { "selected": true, "text": "All", "value": "$__all" },
        "datasource": { "type": "prometheus", "uid": "${source}" },
        "definition": "label_values(portcullis_upstream_up, server)",
        "includeAll": true,
        "label": "Server",
        "multi": true,
        "name": "server",
        "query": { "qryType": 1, "query": "label_values(portcullis_upstream_up, server)", "refId": "server" },
        "refresh": 2,
        "sort": 1,
        "type": "query",
    })
}

fn graph(panel: &Panel, id: usize, place: &Value) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${source}" });
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..)
        .map(|((expr, legend), letter)| {
            json!({ "datasource": source, "expr": expr, "legendFormat": legend, "range": true, "refId": letter })
        })
        .collect();
    json!({
        "datasource": source,
        "fieldConfig": {
            "defaults": {
                "color": { "mode": "palette-classic" },
                "custom": { "fillOpacity": 10, "lineWidth": 1, "showPoints": "never" },
                "min": 0,
                "unit": panel.unit,
            },
            "overrides": [],
        },
        "gridPos": place,
        "id": id,
        "options": {
            "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
        "title": panel.title,
        "type": "timeseries",
    })
}
