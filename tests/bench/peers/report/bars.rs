//! Bars side by side, as an SVG picture.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::table::significant;
use crate::sides::Side;

const SIZE: (u32, u32) = (960, 420);
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Problem = Box<dyn Error + Send + Sync>;

/// How a value becomes a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Logarithmic,
}

/// Groups of bars, one for each side.
#[derive(Debug)]
pub struct Bars {
    title: &'static str,
    unit: &'static str,
    scale: Scale,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    label: String,
    values: Vec<(Side, f64)>,
}

impl Bars {
    pub fn new(title: &'static str, unit: &'static str, scale: Scale) -> Self {
        Self { title, unit, scale, groups: Vec::new() }
    }

    /// Adds a bar for each side that has a `value`.
    pub fn add_group(&mut self, label: &str, value: impl Fn(Side) -> Option<f64>) {
        let values: Vec<_> = Side::ALL.into_iter().filter_map(|side| Some((side, value(side)?))).collect();
        if !values.is_empty() {
            self.groups.push(Group { label: label.to_owned(), values });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Draws them to the file at `path`.
    pub fn draw(&self, path: &Path) -> Result<(), Problem> {
        let values = || self.groups.iter().flat_map(|group| &group.values).map(|&(_, value)| value);
        let most = values().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let least = values().filter(|&value| value > 0.0).fold(most, f64::min);
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        // Above the bars there is room for the names of the sides.
        match self.scale {
            Scale::Linear => self.draw_on(&area, 0.0, 0.0..most * 1.4)?,
            Scale::Logarithmic => self.draw_on(&area, least / 2.0, (least / 2.0..most * 8.0).log_scale())?,
        }
        Ok(area.present()?)
    }

    /// Draws them on `area`, standing on `ground`.
    fn draw_on<Y>(&self, area: &Area, ground: f64, heights: Y) -> Result<(), Problem>
    where
        Y: AsRangedCoord<Value = f64, CoordDescType: ValueFormatter<f64>>,
    {
        area.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(area);
        builder.caption(self.title, (FONT, 20)).margin(12).x_label_area_size(32).y_label_area_size(64);
        let mut chart = builder.build_cartesian_2d(0.0..self.groups.len() as f64, heights)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().disable_x_axis().light_line_style(TRANSPARENT).y_desc(self.unit).label_style((FONT, 14));
        mesh.y_label_formatter(&|&value| significant(value)).draw()?;

        let (above, below) = (label(12, VPos::Bottom), label(14, VPos::Top));
        for side in Side::ALL {
            let (bars, fill) = (self.bars_of(side), colour(side).filled());
            if bars.is_empty() {
                continue;
            }
            let top = |value: f64| value.max(ground);
            let shapes = bars.iter().map(|&(left, right, value)| Rectangle::new([(left, ground), (right, top(value))], fill));
            let legend = move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], fill);
            chart.draw_series(shapes)?.label(side.name()).legend(legend);
            chart.draw_series(bars.iter().map(|&(left, right, value)| {
                Text::new(significant(value), (f64::midpoint(left, right), top(value)), above.clone())
            }))?;
        }
        chart.draw_series(self.groups.iter().enumerate().map(|(index, group)| {
            EmptyElement::at((index as f64 + 0.5, ground)) + Text::new(group.label.clone(), (0, 8), below.clone())
        }))?;
        let mut names = chart.configure_series_labels();
        Ok(names.position(SeriesLabelPosition::UpperLeft).background_style(WHITE).label_font((FONT, 14)).draw()?)
    }

    /// Where the bars of one side stand, from left to right, and what they show.
    fn bars_of(&self, side: Side) -> Vec<(f64, f64, f64)> {
        let bar = |(index, group): (usize, &Group)| {
            let place = group.values.iter().position(|&(other, _)| other == side)?;
            let width = 0.8 / group.values.len() as f64;
            let left = index as f64 + 0.1 + place as f64 * width;
            Some((left, left + 0.9 * width, group.values[place].1))
        };
        self.groups.iter().enumerate().filter_map(bar).collect()
    }
}

/// Text that is centred above or below its place.
fn label(size: u32, place: VPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK).pos(Pos::new(HPos::Center, place))
}

fn colour(side: Side) -> RGBColor {
    match side {
        Side::Longshore => RGBColor(0x0b, 0x6e, 0x99),
        Side::Distribution => RGBColor(0xe0, 0x8e, 0x2b),
        Side::OnDisk => RGBColor(0xf0, 0xc9, 0x87),
        Side::TypeS3 => RGBColor(0x8c, 0x5a, 0xa8),
        Side::Direct => RGBColor(0x9a, 0xa5, 0xb1),
    }
}
