//! Goodput against loss, a figure for each rate: a small diagram for each buffer and round trip.

use crate::contender::Contender;
use crate::point::{BUFFERS, LOSSES, Point, RATES, RTTS};
use crate::results::Results;
use plotters::prelude::*;
use std::path::Path;

const DIAGRAM: (u32, u32) = (300, 220);
const LEGEND: u32 = 34;
/// Mbit/s.
const LEAST: f64 = 0.001;

/// Colours that those who are colour-blind can tell apart (Okabe and Ito): ours first.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Writes `RATE-mbit.svg` for each rate into `folder`.
pub(crate) fn figures(results: &Results, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for rate in RATES {
        if results.cells.iter().any(|cell| cell.point.rate == rate) {
            figure(results, rate, &folder.join(format!("{rate}-mbit.svg")))?;
        }
    }
    Ok(())
}

fn figure(results: &Results, rate: u64, file: &Path) -> anyhow::Result<()> {
    let size = (DIAGRAM.0 * RTTS.len() as u32, LEGEND + DIAGRAM.1 * BUFFERS.len() as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, diagrams) = root.split_vertically(LEGEND);
    let contenders = Contender::all();
    let names = contenders.iter().map(ToString::to_string).chain(["bound".to_owned()]);
    for (number, name) in names.enumerate() {
        let x = 20 + 160 * number as i32;
        let colour = COLOURS[..contenders.len()].get(number).copied().unwrap_or(BLACK);
        legend.draw(&PathElement::new([(x, 18), (x + 24, 18)], colour.stroke_width(2)))?;
        legend.draw(&Text::new(name, (x + 30, 11), ("sans-serif", 14)))?;
    }
    let areas = diagrams.split_evenly((BUFFERS.len(), RTTS.len()));
    let places = BUFFERS.into_iter().flat_map(|buffer| RTTS.map(|rtt| (buffer, rtt)));
    for (area, (buffer, rtt)) in areas.iter().zip(places) {
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{rate} Mbit/s, {rtt} ms, {buffer} KiB"), ("sans-serif", 13))
            .margin(6)
            .x_label_area_size(24)
            .y_label_area_size(44)
            .build_cartesian_2d(0..LOSSES.len() - 1, (LEAST..rate as f64).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(LOSSES.len())
            .x_label_formatter(&|index| {
                LOSSES.get(*index).map_or(String::new(), |loss| format!("{} %", f64::from(*loss) / 10.0))
            })
            .y_label_formatter(&|value| format!("{value}"))
            .label_style(("sans-serif", 10))
            .draw()?;
        let points = LOSSES.iter().enumerate().map(|(index, loss)| (index, Point { rtt, loss: *loss, buffer, rate }));
        let bounds = points.clone().map(|(index, point)| (index, point.bound() / 1e6));
        chart.draw_series(LineSeries::new(bounds, BLACK.mix(0.5)))?;
        for (contender, colour) in contenders.iter().zip(COLOURS) {
            let cells = points.clone().filter_map(|(index, point)| Some((index, results.cell(point, *contender)?)));
            let medians = cells.map(|(index, cell)| (index, (cell.goodput.median / 1e6).max(LEAST)));
            chart.draw_series(LineSeries::new(medians, colour.stroke_width(2)).point_size(2))?;
        }
    }
    root.present()?;
    Ok(())
}
